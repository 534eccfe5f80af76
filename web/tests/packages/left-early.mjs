// A loop over an answer that is left before its first token; the run's name.
import { LorestreamClient } from "@lorestream/client";

const { url, token, question } = JSON.parse(process.argv[2]);
const run = new LorestreamClient({ url, token }).ask(question);
for await (const event of run) if (event.type === "status" && event.phase === "generating") break;
const { phase, text } = await run.answer;
console.log(JSON.stringify({ runId: run.id, phase, text }));
