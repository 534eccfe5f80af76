import type { Message } from "../../api/types";
import type { Exchange } from "./exchange";
import { activePath, siblings, upTo, type Choices } from "./tree";

/** The places to go from a message: those beside it, in order, and which one this is. */
export interface Branches {
  all: readonly Message[];
  index: number;
}

/** A question with its answer; either is null while the server has not told it, `exchange` while nothing is followed. */
export interface Turn {
  key: string;
  /** The answer that the question follows. */
  parentId: string | null;
  question: Message | null;
  answer: Message | null;
  exchange: Exchange | null;
  questionBranches: Branches | null;
  answerBranches: Branches | null;
}

/** What to show of a conversation: the active branch as stored, and on it what is followed or still on its way. */
export function turnsOf(messages: readonly Message[], choices: Choices, exchanges: readonly Exchange[]): Turn[] {
  const known = new Set(messages.map((message) => message.run_id));
  const path = activePath(messages, choices);
  const pending = exchanges.findLast(
    ({ answer, place: { parentId } }) =>
      !known.has(answer.getState().runId ?? "") && (parentId === null || upTo(path, parentId).length > 0),
  );
  const shown = pending ? upTo(path, pending.place.parentId) : path;
  const turns = shown
    .filter((message) => message.role === "user")
    .map((question) => storedTurn(messages, exchanges, question, shown));
  if (!pending) return turns;
  const last = pending.place.kind === "answer" ? turns.pop() : undefined;
  return [...turns, pendingTurn(pending, last)];
}

function storedTurn(
  messages: readonly Message[],
  exchanges: readonly Exchange[],
  question: Message,
  path: readonly Message[],
): Turn {
  const answer = path.find((message) => message.parent_id === question.message_id) ?? null;
  const exchange = exchanges.find((one) => one.answer.getState().runId === answer?.run_id) ?? null;
  return {
    key: exchange?.key ?? answer?.message_id ?? question.message_id,
    parentId: question.parent_id,
    question,
    answer,
    exchange,
    questionBranches: branches(messages, question),
    answerBranches: answer && branches(messages, answer),
  };
}

const pendingTurn = (exchange: Exchange, last: Turn | undefined): Turn => ({
  key: exchange.key,
  parentId: last?.parentId ?? exchange.place.parentId,
  question: last?.question ?? null,
  answer: null,
  exchange,
  questionBranches: last?.questionBranches ?? null,
  answerBranches: null,
});

function branches(messages: readonly Message[], message: Message): Branches | null {
  const all = siblings(messages, message);
  return all.length > 1 ? { all, index: all.indexOf(message) } : null;
}
