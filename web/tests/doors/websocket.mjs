// A chat over the WebSocket of browsers, which can name protocols and send no header.
const target = JSON.parse(process.argv[2]);
const seen = { text: "", sources: null, end: "the connection ended", stopped_at: 0 };

const chat = new WebSocket(`${target.url.replace("http", "ws")}/ws/chat`, ["lorestream", `bearer.${target.token}`]);
chat.onopen = () => chat.send(JSON.stringify({ content: target.question, model: target.model }));
chat.onclose = () => console.log(JSON.stringify(seen));
chat.onmessage = ({ data }) => {
  const message = JSON.parse(data);
  if (message.type === "sources") seen.sources = message.sources.length;
  else if (message.type === "token") seen.text += message.content;
  else if (message.type === "done") seen.end = message.finish_reason === "cancelled" ? "stopped" : "done";
  else seen.end = `${message.code}: ${message.message}`;
  if (message.type === "done" || message.type === "error") chat.close();
  if (target.stop && seen.text && !seen.stopped_at) {
    seen.stopped_at = Number(process.hrtime.bigint()) / 1e9;
    chat.send(JSON.stringify({ type: "stop" }));
  }
};
