// The Vercel AI SDK's Chat, which is what useChat holds, as docs/clients.md shows it.
import { Chat } from "@ai-sdk/react";
import { DefaultChatTransport } from "ai";

const target = JSON.parse(process.argv[2]);
const seen = { text: "", sources: null, end: "", stopped_at: 0 };
const api = `${target.url}/ai-sdk/chat`;
const headers = { Authorization: `Bearer ${target.token}` };

const chat = new Chat({
  transport: new DefaultChatTransport({ api, headers, body: target.model ? { model: target.model } : {} }),
});
const answer = () => chat.messages.findLast((one) => one.role === "assistant");
const text = () => (answer()?.parts ?? []).map((part) => (part.type === "text" ? part.text : "")).join("");

const asking = chat.sendMessage({ text: target.question });
if (target.stop) {
  while (!text()) await new Promise((resolve) => setTimeout(resolve, 5));
  seen.stopped_at = Number(process.hrtime.bigint()) / 1e9;
  await Promise.all([chat.stop(), fetch(`${api}/${chat.id}/stop`, { method: "POST", headers })]);
}
await asking;
seen.text = text();
seen.sources = (answer()?.parts ?? []).filter((part) => part.type === "source-document").length;
seen.end = target.stop ? "stopped" : chat.status === "ready" ? "done" : chat.error.message;
console.log(JSON.stringify(seen));
