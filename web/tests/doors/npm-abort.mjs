// @lorestream/client: an answer awaited as a whole, stopped by the abort of a signal.
import { client, model, stopping, target, tell, wordsOf } from "./npm.mjs";

const abort = new AbortController();
const run = client.ask(target.question, { model, signal: abort.signal });
run.subscribe(() => {
  if (!target.stop || !run.text || abort.signal.aborted) return;
  stopping();
  abort.abort();
});
let end = "done";
try {
  await run.answer;
} catch (error) {
  end = error.name === "AbortError" ? "stopped" : wordsOf(error);
}
tell(run, end);
