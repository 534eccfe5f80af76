/** The tree of a conversation: a question's parent is the answer before it or null, an answer's is its question. */

export interface Node {
  message_id: string;
  parent_id: string | null;
}

/** Which child was chosen where a conversation branches: by the parent's id, null at the beginning. */
export type Choices = ReadonlyMap<string | null, string>;

/** From the beginning to a leaf: the chosen child at each fork, else the one that leads to the newest message.
 *
 * `messages` come in the order they were made, so a child stands after its parent.
 */
export function activePath<N extends Node>(messages: readonly N[], choices: Choices = new Map()): N[] {
  const next = newestChildren(messages);
  for (const message of messages) {
    if (choices.get(message.parent_id) === message.message_id) next.set(message.parent_id, message);
  }
  const path: N[] = [];
  for (let node = next.get(null); node; node = next.get(node.message_id)) path.push(node);
  return path;
}

/** For each parent the child whose branch holds the newest message. */
function newestChildren<N extends Node>(messages: readonly N[]): Map<string | null, N> {
  const newest = new Map<string | null, N>();
  const byId = new Map(messages.map((message) => [message.message_id, message]));
  for (const leaf of messages.toReversed()) {
    // Upwards until a fork that a newer message has decided, which has decided all above it too.
    for (let node: N | undefined = leaf; node && !newest.has(node.parent_id);) {
      newest.set(node.parent_id, node);
      node = node.parent_id === null ? undefined : byId.get(node.parent_id);
    }
  }
  return newest;
}

/** The messages that stand in the same place, this one among them, oldest first. */
export const siblings = <N extends Node>(messages: readonly N[], { parent_id: parent }: Node): N[] =>
  messages.filter((message) => message.parent_id === parent);

/** Go to the branch of this message. */
export const choose = (choices: Choices, { parent_id: parent, message_id: id }: Node): Choices =>
  new Map(choices).set(parent, id);

/** Let the newest branch show again below this parent, as when a new one is begun there. */
export function unchoose(choices: Choices, parentId: string | null): Choices {
  const rest = new Map(choices);
  rest.delete(parentId);
  return rest;
}

/** The beginning of a path up to and with this message; all before the first message for null. */
export function upTo<N extends Node>(path: readonly N[], messageId: string | null): N[] {
  return path.slice(0, path.findIndex((message) => message.message_id === messageId) + 1);
}
