// Every golden stream of the AI SDK's door through the SDK's own reader and schema: what each adds up to, as JSON.
import { parseJsonEventStream, readUIMessageStream, uiMessageChunkSchema } from "ai";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const folder = process.argv[2];
const read = {};
for (const name of readdirSync(folder)) {
  const types = [];
  let wrong = "";
  const checked = parseJsonEventStream({
    stream: new Blob([readFileSync(join(folder, name))]).stream(),
    schema: uiMessageChunkSchema,
  }).pipeThrough(
    new TransformStream({
      transform(chunk, controller) {
        if (!chunk.success) throw chunk.error;
        types.push(chunk.value.type);
        controller.enqueue(chunk.value);
      },
    }),
  );
  let message;
  for await (const state of readUIMessageStream({ stream: checked, onError: (error) => (wrong = error.message) }))
    message = state;
  const texts = (type) => message.parts.filter((part) => part.type === type).map((part) => part.text);
  read[name.replace(".sse", "")] = {
    id: message.id,
    text: texts("text").join(""),
    reasoning: texts("reasoning").join(""),
    sources: message.parts.filter((part) => part.type === "source-document").map((part) => part.providerMetadata),
    metadata: message.metadata,
    last: types.at(-1),
    wrong,
  };
}
console.log(JSON.stringify(read));
