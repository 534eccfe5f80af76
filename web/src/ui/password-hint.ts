/** In characters of the form in which the server counts them (NFC). */
export const passwordLength = (password: string): number => Array.from(password.normalize("NFC")).length;

/** What a password of this length still needs. Length is what counts: there are no rules about kinds of characters. */
export function passwordHint(length: number, least: number, advised: number): string {
  if (length === 0) {
    const better = advised > least ? `, better ${advised} or more` : "";
    return `At least ${least} characters${better}; a few words in a row make a good one.`;
  }
  if (length < least) return `${least - length} more to go, of at least ${least}.`;
  return length < advised ? `Long enough; ${advised} or more are better.` : "A good length.";
}
