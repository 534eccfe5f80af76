// A document's life through @lorestream/client, as JSON.
import { LorestreamClient } from "@lorestream/client";

const { url, token } = JSON.parse(process.argv[2]);
const client = new LorestreamClient({ url, token });
const { documents } = client;
const refusal = ({ name, code, status, retryable, fields }) => ({ name, code, status, retryable, fields });

const sent = await documents.upload(new Blob(["Oslo is the capital of Norway."]), {
  name: "north.txt",
  waitSeconds: 0,
});
const ready = await documents.ready(sent.doc_id);
const found = await client.search("capital of Norway", { k: 1, docId: ready.doc_id });
const listed = await documents.list({ q: "north" });
await documents.delete(ready.doc_id);
const gone = await documents.ready(ready.doc_id).catch(refusal);
const empty = await documents.upload(new Blob([]), { name: "empty.txt" }).catch(refusal);
const wrong = await client.search("", { k: 99 }).catch(refusal);
const names = listed.items.map(({ filename }) => filename);
console.log(JSON.stringify({ status: ready.status, found: found.items[0].text, names, gone, empty, wrong }));
