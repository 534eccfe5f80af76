import type { Link } from "@lorestream/client";
import { afterEach, beforeEach, expect, it, vi } from "vitest";

import type { Batch, Document } from "../../api/types";
import { Watch } from "./watch";

const batch = (id: string, change: Partial<Batch> = {}): Batch => ({
  ...{ batch_id: id, name: id, status: "working", entries: null, documents: 2, queued: 2, processing: 0, ready: 0 },
  ...{ failed: 0, cancelled: 0, pages: 0, chunks: 0, progress: 0, refused: [], created_at: "2026-01-01T00:00:00Z" },
  ...change,
});
const document_ = (id: string, status: Document["status"]) => ({ doc_id: id, status, batch_id: "b1" }) as Document;

/** A server whose streams say what the test says. */
function scripted(stillComing: () => boolean = () => false) {
  const streams: { path: string; say: (value: unknown) => void; signal: AbortSignal }[] = [];
  const link: Link = {
    fetch: (path, init) => {
      if (!path.endsWith("/events")) return Promise.resolve(new Response("{}", { status: 404 }));
      const body = new ReadableStream<Uint8Array>({
        start: (controller) => {
          const say = (value: unknown) =>
            controller.enqueue(new TextEncoder().encode(`data: ${JSON.stringify(value)}\n\n`));
          const signal = init.signal ?? new AbortController().signal;
          signal.addEventListener("abort", () => controller.error(new DOMException("Aborted", "AbortError")));
          streams.push({ path, say, signal });
        },
      });
      return Promise.resolve(new Response(body));
    },
    pause: () => Promise.resolve(),
  };
  const told: string[] = [];
  const news = {
    onDocuments: (documents: readonly Document[]) =>
      told.push(...documents.map((one) => `${one.doc_id} ${one.status}`)),
    onSettled: ({ name }: Batch) => told.push(`${name} is settled`),
  };
  const watch = new Watch(link, news, stillComing);
  const stop = watch.start();
  const stream = async (path: string) => {
    await vi.waitFor(() => expect(streams.at(-1)?.path).toBe(path));
    const last = streams.at(-1);
    if (!last) throw new Error("no stream");
    return last;
  };
  const names = () => watch.getState().batches.map(({ batch: { name, status } }) => `${name} ${status}`);
  return { watch, streams, stream, told, names, stop };
}

beforeEach(() => void vi.stubGlobal("document", Object.assign(new EventTarget(), { hidden: false })));
afterEach(() => void vi.unstubAllGlobals());

it("follows one batch after the other, and says what is at work in it", async () => {
  const { watch, stream, told, names, streams, stop } = scripted();
  watch.seeBatches([batch("b2"), batch("b1"), batch("old", { status: "done" })]);
  const first = await stream("/batches/b1/events");
  first.say({ ...batch("b1", { processing: 1 }), changed: [document_("d1", "processing")] });
  await vi.waitFor(() => expect(watch.getState().batches[0]?.atWork.map((one) => one.doc_id)).toEqual(["d1"]));
  first.say({ ...batch("b1", { status: "done" }), changed: [document_("d1", "ready")] });
  const second = await stream("/batches/b2/events");
  second.say(batch("b2", { status: "done" }));
  await vi.waitFor(() => expect(told.at(-1)).toBe("b2 is settled"));
  expect(told).toEqual(["d1 processing", "d1 ready", "b1 is settled", "b2 is settled"]);
  expect(names()).toEqual(["b1 done", "b2 done"]);
  expect(streams).toHaveLength(2);
  stop();
});

it("leaves a document for a batch, and comes back to it", async () => {
  const { watch, stream, told, stop } = scripted();
  watch.seeDocuments(["d1", "d2"]);
  const single = await stream("/documents/d1/events");
  watch.follow(batch("b1"));
  const many = await stream("/batches/b1/events");
  expect(single.signal.aborted).toBe(true);
  many.say(batch("b1", { status: "done" }));
  (await stream("/documents/d1/events")).say(document_("d1", "ready"));
  await stream("/documents/d2/events");
  expect(told).toEqual(["b1 is settled", "d1 ready"]);
  stop();
});

it("lets go while the page is hidden", async () => {
  const { watch, stream, streams, stop } = scripted();
  watch.seeBatches([batch("b1")]);
  const first = await stream("/batches/b1/events");
  Object.assign(document, { hidden: true });
  document.dispatchEvent(new Event("visibilitychange"));
  expect(first.signal.aborted).toBe(true);
  Object.assign(document, { hidden: false });
  document.dispatchEvent(new Event("visibilitychange"));
  await vi.waitFor(() => expect(streams).toHaveLength(2));
  stop();
});
