export { AnswerStore, type Followed } from "./answer-store.js";
export { useAnswer, type UseAnswer } from "./use-answer.js";
