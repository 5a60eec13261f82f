/** Label selectors: `k`, `k==v`, `k!=v`, `k in (a,b)`, `k notin (a,b)`, joined by commas, all of which must match. */
import { PortolanError } from '../base/errors.ts';

export type LabelSelector = (labels: Readonly<Record<string, string>>) => boolean;

/** Throws 'invalid'. */
export function parseSelector(text: string): LabelSelector {
  const reader = new Reader(text);
  const all: LabelSelector[] = [requirement(reader)];
  while (reader.take(',')) all.push(requirement(reader));
  reader.end();
  return (labels) => all.every((matches) => matches(labels));
}

function requirement(reader: Reader): LabelSelector {
  const key = reader.word('a label');
  if (reader.take('==') || reader.take('=')) return equals(key, reader.word('a value'), true);
  if (reader.take('!=')) return equals(key, reader.word('a value'), false);
  if (reader.takeWord('in')) return among(key, reader.list(), true);
  if (reader.takeWord('notin')) return among(key, reader.list(), false);
  return (labels) => labels[key] !== undefined;
}

function equals(key: string, value: string, wanted: boolean): LabelSelector {
  return among(key, [value], wanted);
}

/** A label that is not there matches neither way. */
function among(key: string, values: readonly string[], wanted: boolean): LabelSelector {
  return (labels) => {
    const value = labels[key];
    return value !== undefined && values.includes(value) === wanted;
  };
}

const PLAIN = /[A-Za-z0-9._-]/;

class Reader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  /** Characters other than A-Za-z0-9._- are written with a backslash before them. */
  word(what: string): string {
    this.#blanks();
    let word = '';
    for (;;) {
      const char = this.#text[this.#at] ?? '';
      if (char === '\\' && this.#at + 1 < this.#text.length) {
        word += this.#text[this.#at + 1];
        this.#at += 2;
      } else if (PLAIN.test(char)) {
        word += char;
        this.#at += 1;
      } else break;
    }
    if (word === '') this.#fail(what);
    return word;
  }

  take(token: string): boolean {
    this.#blanks();
    if (!this.#text.startsWith(token, this.#at)) return false;
    this.#at += token.length;
    return true;
  }

  takeWord(word: string): boolean {
    this.#blanks();
    if (!this.#text.startsWith(word, this.#at) || PLAIN.test(this.#text[this.#at + word.length] ?? ''))
      return false;
    this.#at += word.length;
    return true;
  }

  list(): string[] {
    if (!this.take('(')) this.#fail('"("');
    const values = [this.word('a value')];
    while (this.take(',')) values.push(this.word('a value'));
    if (!this.take(')')) this.#fail('")"');
    return values;
  }

  end(): void {
    this.#blanks();
    if (this.#at < this.#text.length) this.#fail('","');
  }

  #blanks(): void {
    while (this.#text[this.#at] === ' ') this.#at += 1;
  }

  #fail(wanted: string): never {
    const found = this.#at < this.#text.length ? `"${this.#text.slice(this.#at, this.#at + 20)}"` : 'its end';
    throw new PortolanError(
      'invalid',
      `Label selector "${this.#text}" is not valid: expected ${wanted} at ${this.#at + 1}, found ${found}`,
      { field: 'label', remedy: 'write for example env==prod,tier in (web,api)' },
    );
  }
}
