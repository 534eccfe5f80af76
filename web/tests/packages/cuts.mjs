// One answer, read by @lorestream/client through a network that cuts connections; printed as JSON.
import { LorestreamClient } from "@lorestream/client";

const { url, token, question } = JSON.parse(process.argv[2]);
const client = new LorestreamClient({ url, token });
// Nothing is learnt from waiting.
client.connection.pause = () => new Promise((resolve) => setImmediate(resolve));
const run = client.ask(question);
let text = "";
for await (const event of run) if (event.type === "token") text += event.text;
const { phase, runId } = await run.answer;
console.log(JSON.stringify({ text, folded: run.text, phase, runId }));
