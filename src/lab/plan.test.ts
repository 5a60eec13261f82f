import { describe, expect, it } from 'vitest';
import { isPortolanError } from '../base/errors.ts';
import { isNamespaceOf } from './paths.ts';
import { checkLabName, findHost, masterApis, planHosts } from './plan.ts';

const codeOf = (action: () => unknown): string | undefined => {
  try {
    action();
  } catch (error) {
    return isPortolanError(error) ? error.code : 'not ours';
  }
  return undefined;
};

describe('planHosts', () => {
  it('puts masters at 10.0.0.1 and agents at 10.0.0.11', () => {
    const hosts = planHosts({ hosts: 2, masters: 2, docker: false });
    expect(hosts.map((host) => `${host.name} ${host.address}`)).toEqual([
      'master1 10.0.0.1',
      'master2 10.0.0.2',
      'agent1 10.0.0.11',
      'agent2 10.0.0.12',
    ]);
    expect(masterApis(hosts)).toEqual(['10.0.0.1:5050', '10.0.0.2:5050']);
  });

  it('gives every host of the largest lab an address of its own on the underlay', () => {
    const hosts = planHosts({ hosts: 200, masters: 9, docker: false });
    expect(new Set(hosts.map((host) => host.address)).size).toBe(209);
    expect(hosts.at(-1)?.address).toBe('10.0.0.210');
  });

  it.each([0, -1, 1.5, 201, Number.NaN])('refuses %s agents and names the option', (hosts) => {
    expect(codeOf(() => planHosts({ hosts, masters: 1, docker: false }))).toBe('invalid');
  });
});

describe('names', () => {
  it.each(['', 'Lab', '1lab', 'a b', 'a/b', '../x', 'x'.repeat(21)])('refuses the lab name "%s"', (name) => {
    expect(codeOf(() => checkLabName(name))).toBe('invalid');
  });

  it('finds a host by its name or its namespace', () => {
    const hosts = planHosts({ hosts: 1, masters: 1, docker: false });
    expect(findHost('x', hosts, 'agent1').address).toBe('10.0.0.11');
    expect(findHost('x', hosts, 'x-agent1').address).toBe('10.0.0.11');
  });

  it('lists the hosts when there is none of that name', () => {
    const hosts = planHosts({ hosts: 1, masters: 1, docker: false });
    expect(() => findHost('x', hosts, 'agent9')).toThrowError(
      expect.objectContaining({ code: 'not-found', remedy: 'choose one of master1, agent1' }),
    );
  });

  it("never takes another lab's namespace for its own", () => {
    expect(isNamespaceOf('a', 'a-agent1')).toBe(true);
    expect(isNamespaceOf('a', 'a-underlay')).toBe(true);
    expect(isNamespaceOf('a', 'a-b-agent1')).toBe(false);
    expect(isNamespaceOf('a', 'ab-agent1')).toBe(false);
    expect(isNamespaceOf('a', 'a-something')).toBe(false);
  });
});
