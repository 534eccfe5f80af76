// OpenAI's own client for Node, streamed.
import OpenAI, { APIError } from "openai";

const target = JSON.parse(process.argv[2]);
const seen = { text: "", sources: null, end: "the connection ended", stopped_at: 0 };
const client = new OpenAI({ baseURL: `${target.url}/v1`, apiKey: target.token, maxRetries: 0 });

try {
  const stream = await client.chat.completions.create({
    model: target.model,
    messages: [{ role: "user", content: target.question }],
    stream: true,
  });
  for await (const chunk of stream) {
    if (chunk.sources) seen.sources = chunk.sources.length;
    seen.text += chunk.choices[0]?.delta.content ?? "";
    if (chunk.choices[0]?.finish_reason) seen.end = "done";
    if (target.stop && seen.text) {
      seen.stopped_at = Number(process.hrtime.bigint()) / 1e9;
      seen.end = "stopped";
      break; // the client aborts its request when its loop is left
    }
  }
} catch (error) {
  if (!(error instanceof APIError)) throw error;
  seen.end = error.message;
}
console.log(JSON.stringify(seen));
