/** YAML as people write it into files; JSON is a subset of it, so one parser reads both. */
import { parseDocument } from 'yaml';

export type YamlText = { readonly value: unknown } | { readonly problem: string };

/** `problem`: one line, with the place where the parser can tell it. Every key may be there once. */
export function parseYaml(text: string): YamlText {
  const document = parseDocument(text, { uniqueKeys: true });
  const error = document.errors[0];
  if (error !== undefined) return { problem: firstLine(error.message) };
  try {
    return { value: document.toJS() as unknown };
  } catch (unresolved) {
    // Aliases: of an anchor that is not there, or so many that they mean harm.
    return { problem: firstLine((unresolved as Error).message) };
  }
}

/** The parser's other lines show the place, and its first ends in a colon for them. */
function firstLine(text: string): string {
  return (text.split('\n')[0] ?? text).replace(/:$/, '');
}
