// useChat over a page that is left in mid-answer and loaded anew: two questions, a reload, and nothing left to resume.
import { Chat } from "@ai-sdk/react";
import { DefaultChatTransport } from "ai";

const target = JSON.parse(process.argv[2]);
const headers = { Authorization: `Bearer ${target.token}` };
const transport = new DefaultChatTransport({
  api: `${target.url}/ai-sdk/chat`,
  headers,
  prepareSendMessagesRequest: ({ id, messages, trigger, body }) => ({
    body: { ...body, id, trigger, messages: messages.slice(-40) },
  }),
});
const text = (message) => message.parts.map((part) => (part.type === "text" ? part.text : "")).join("");
const phases = [];
const note = (part) => part.type === "data-status" && phases.push(part.data.phase);

const first = new Chat({ id: "reload", transport, onData: note });
await first.sendMessage({ text: "What is the capital of France?" });
const answered = first.messages.map(text);
const leaving = first.sendMessage({ text: "And of Germany?" });
while (!text(first.messages.at(-1)).startsWith("Ber")) await new Promise((resolve) => setTimeout(resolve, 5));
await first.stop();
await leaving;

const second = new Chat({ id: "reload", transport, messages: first.messages });
const resuming = second.resumeStream();
while (second.status !== "streaming") await new Promise((resolve) => setTimeout(resolve, 5));
console.log("resumed");
await resuming;
const after = new Chat({ id: "reload", transport });
await after.resumeStream();
console.log(
  JSON.stringify({
    answered,
    phases,
    roles: second.messages.map((one) => one.role),
    last: text(second.messages.at(-1)),
    metadata: second.messages.at(-1).metadata,
    status: second.status,
    afterwards: [after.status, after.messages.length],
  }),
);
