import { expect, it, vi } from "vitest";
import { LorestreamError } from "@lorestream/client";

import type { Batch, Document } from "../../api/types";
import type { Chosen } from "./chosen";
import type { Sent } from "./send-file";
import { UploadQueue } from "./upload-queue";

const file = (name: string): File => new File(["x"], name);
const chosen = (...names: string[]): Chosen => ({
  name: "a folder",
  files: names.filter((name) => !name.endsWith(".zip")).map(file),
  archives: names.filter((name) => name.endsWith(".zip")).map(file),
  leftOut: [],
});
const refusal = (code: string, status: number, retryable = false, retryAfter: number | null = null): LorestreamError =>
  new LorestreamError({ code, message: `${code}.`, status, retryable }, retryAfter);

interface Open {
  name: string;
  batchId: string | null;
  signal: AbortSignal;
  finish: (existed?: boolean) => void;
  refuse: (problem: LorestreamError) => void;
}

/** A server on which each upload ends when the test says so. */
function scripted() {
  const open: Open[] = [];
  const arrived: string[] = [];
  const batches: string[] = [];
  const queue = new UploadQueue(
    {
      onSent: ({ document }) => arrived.push(document.filename),
      onShipped: (document) => arrived.push(document.filename),
      onBatch: (batch) => batches.push(batch.batch_id),
    },
    {
      makeBatch: (name) => Promise.resolve({ batch_id: `batch of ${name}` } as Batch),
      sendArchive: ({ name }) => Promise.resolve({ batch_id: `unpacked ${name}` } as Batch),
      pause: () => Promise.resolve(),
      send: ({ name }, { batchId }, onProgress, signal) =>
        new Promise<Sent>((resolve, reject) => {
          onProgress(0.5);
          const finish = (existed = false) => resolve({ document: { filename: name } as Document, existed });
          signal.addEventListener("abort", () => reject(new DOMException("Cancelled", "AbortError")));
          open.push({ name, batchId, signal, finish, refuse: reject });
        }),
    },
  );
  const opened = (name: string): Open => {
    const found = open.findLast((one) => one.name === name);
    if (!found) throw new Error(`${name} is not on its way`);
    return found;
  };
  const onTheirWay = (...names: string[]) =>
    vi.waitFor(() => expect(open.map(({ name }) => name).slice(-names.length)).toEqual(names));
  const shipment = () => queue.getState().shipments[0];
  return { queue, open, opened, onTheirWay, arrived, batches, shipment };
}

it("sends one file by itself, and a ZIP file to be unpacked", async () => {
  const { queue, opened, onTheirWay, arrived, batches } = scripted();
  queue.add(chosen("a", "b.zip"));
  await onTheirWay("a");
  expect(queue.getState().uploads[0]).toMatchObject({ state: "sending", sent: 0.5 });
  expect(opened("a").batchId).toBeNull();
  opened("a").finish();
  await vi.waitFor(() => expect(queue.getState().uploads).toEqual([]));
  expect([arrived, batches]).toEqual([["a"], ["unpacked b.zip"]]);
});

it("keeps a refused file with the server's words, and sends it again on demand", async () => {
  const { queue, opened, onTheirWay, arrived } = scripted();
  queue.add(chosen("a"));
  await onTheirWay("a");
  opened("a").refuse(refusal("too_large", 413));
  await vi.waitFor(() =>
    expect(queue.getState().uploads[0]).toMatchObject({ state: "rejected", problem: { message: "too_large." } }),
  );
  queue.retry(queue.getState().uploads[0]?.key ?? 0);
  await onTheirWay("a", "a");
  opened("a").finish();
  await vi.waitFor(() => expect(arrived).toEqual(["a"]));
});

it("sends many files as one batch, three at once", async () => {
  const { queue, open, opened, onTheirWay, shipment, batches } = scripted();
  queue.add(chosen("a", "b", "c", "d"));
  await onTheirWay("a", "b", "c");
  expect(batches).toEqual(["batch of a folder"]);
  expect(open.map(({ batchId }) => batchId)).toEqual(Array(3).fill("batch of a folder"));
  expect(queue.isSending("batch of a folder")).toBe(true);
  opened("b").finish(true);
  await onTheirWay("d");
  opened("a").refuse(refusal("unsupported_type", 415));
  opened("c").finish();
  opened("d").finish();
  await vi.waitFor(() => expect(shipment()?.state).toBe("sent"));
  expect(shipment()).toMatchObject({
    ...{ total: 4, arrived: 3, existed: 1, unsent: [], problem: null },
    refused: [{ name: "a", message: "unsupported_type." }],
  });
});

it("waits where the server asks it to, and goes on", async () => {
  const { queue, opened, onTheirWay, shipment } = scripted();
  queue.add(chosen("a", "b"));
  await onTheirWay("a", "b");
  opened("a").refuse(refusal("rate_limited", 429, true, 60));
  await vi.waitFor(() => expect(shipment()?.problem).toMatchObject({ message: "rate_limited.", atLimit: true }));
  await onTheirWay("b", "a");
  opened("a").finish();
  opened("b").finish();
  await vi.waitFor(() => expect(shipment()).toMatchObject({ state: "sent", arrived: 2, problem: null }));
});

it("stops at a limit that waiting does not lift, and sends the rest on demand", async () => {
  const { queue, open, opened, onTheirWay, shipment } = scripted();
  queue.add(chosen("a", "b", "c", "d", "e"));
  await onTheirWay("a", "b", "c");
  opened("a").refuse(refusal("quota_exceeded", 403));
  await vi.waitFor(() => expect(shipment()).toMatchObject({ state: "stopped", problem: { atLimit: true } }));
  opened("b").finish();
  opened("c").finish();
  await vi.waitFor(() => expect(shipment()?.arrived).toBe(2));
  expect(shipment()?.unsent.map(({ name }) => name)).toEqual(["a", "d", "e"]);
  queue.resend(shipment()?.key ?? 0);
  await onTheirWay("a", "d", "e");
  for (const { finish } of open.slice(-3)) finish();
  await vi.waitFor(() => expect(shipment()).toMatchObject({ state: "sent", arrived: 5, unsent: [] }));
});

it("sends no more of a batch that is halted, and drops what is taken out", async () => {
  const { queue, open, onTheirWay, shipment } = scripted();
  queue.add(chosen("a", "b", "c", "d"));
  await onTheirWay("a", "b", "c");
  queue.halt("batch of a folder");
  expect(shipment()?.state).toBe("stopped");
  expect(open.map(({ signal }) => signal.aborted)).toEqual([true, true, true]);
  queue.clear();
  expect(queue.getState()).toMatchObject({ uploads: [], shipments: [] });
});
