/** What is being written in each conversation; `null` is the one that is not begun. For `useSyncExternalStore`. */
export class Drafts {
  readonly #texts = new Map<string | null, string>();
  readonly #listeners = new Set<() => void>();

  get(conversationId: string | null): string {
    return this.#texts.get(conversationId) ?? "";
  }

  set(conversationId: string | null, text: string): void {
    this.#texts.set(conversationId, text);
    for (const listener of this.#listeners) listener();
  }

  /** Put an unsent question back, unless something else has been written since. */
  keep(conversationId: string | null, question: string): void {
    if (this.get(conversationId).trim() === "") this.set(conversationId, question);
  }

  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };
}

let kept: { userId: string; drafts: Drafts } | null = null;

/** The drafts of this user. They outlive the end of a login, and go when somebody else logs in. */
export function draftsOf(userId: string): Drafts {
  if (kept?.userId !== userId) kept = { userId, drafts: new Drafts() };
  return kept.drafts;
}
