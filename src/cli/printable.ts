/** Texts that come from elsewhere (names of nodes, notes, reasons) on a person's terminal. */

/** With what a terminal would obey instead of showing it replaced; line ends stay. */
export function printable(text: string): string {
  return text.replace(/(?!\n)[\p{Cc}\p{Cf}]/gu, '�');
}
