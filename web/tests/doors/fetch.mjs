// The base contract read with fetch, as its documentation shows.
const target = JSON.parse(process.argv[2]);
const seen = { text: "", sources: null, end: "the connection ended", stopped_at: 0 };
const leave = new AbortController();

const response = await fetch(`${target.url}/query/stream/?question=${encodeURIComponent(target.question)}`, {
  headers: { Authorization: `Bearer ${target.token}` },
  signal: leave.signal,
});
if (!response.ok) {
  seen.end = `${response.status} ${(await response.json()).code}`;
} else {
  let rest = "";
  try {
    for await (const piece of response.body.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + piece).split("\n");
      rest = lines.pop();
      for (const line of lines.filter((one) => one.startsWith("data: "))) take(JSON.parse(line.slice(6)));
      if (target.stop && seen.text) {
        seen.stopped_at = Number(process.hrtime.bigint()) / 1e9;
        seen.end = "stopped";
        leave.abort();
      }
    }
  } catch (error) {
    if (error.name !== "AbortError") throw error;
  }
}
console.log(JSON.stringify(seen));

function take(event) {
  if (event.type === "sources") seen.sources = event.sources.length;
  else if (event.type === "token") seen.text += event.text;
  else if (event.type === "done") seen.end = "done";
  else if (event.type === "error") seen.end = `${event.code}: ${event.message}`;
}
