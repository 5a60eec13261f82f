import { FakeNft } from '../nft-fake.ts';
import { nftContract } from './contract.ts';

nftContract('the fake', () => ({ nft: new FakeNft(), close: () => undefined }));
