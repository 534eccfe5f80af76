// @lorestream/client: the events of an answer, stopped by `stop`.
import { client, model, stopping, target, tell, wordsOf } from "./npm.mjs";

const run = client.ask(target.question, { model });
let end = "";
try {
  for await (const event of run) {
    if (event.type === "token" && target.stop && !end) {
      end = "stopped";
      stopping();
      void run.stop();
    }
    if (event.type === "done") end ||= "done";
  }
} catch (error) {
  end = wordsOf(error);
}
tell(run, end);
