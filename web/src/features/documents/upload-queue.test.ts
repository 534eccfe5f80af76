import { expect, it, vi } from "vitest";

import { Problem } from "../../api/problem";
import type { Sent } from "./send-file";
import { UploadQueue } from "./upload-queue";

const files = (...names: string[]): File[] => names.map((name) => new File(["x"], name));

/** A server on which each upload ends when the test says so. */
function scripted() {
  const open = new Map<string, { finish: () => void; refuse: (problem: Problem) => void; signal: AbortSignal }>();
  const arrived: string[] = [];
  const queue = new UploadQueue(
    ({ document }) => arrived.push(document.filename),
    (file, onProgress, signal) =>
      new Promise<Sent>((resolve, reject) => {
        onProgress(0.5);
        const finish = () => resolve({ document: { filename: file.name } as Sent["document"], existed: false });
        open.set(file.name, { finish, refuse: reject, signal });
      }),
  );
  const states = () => queue.getState().map((upload) => `${upload.file.name} ${upload.state}`);
  return { queue, open, arrived, states };
}

it("sends two at once, and the next when one has arrived", async () => {
  const { queue, open, arrived, states } = scripted();
  queue.add(files("a", "b", "c"));
  expect(states()).toEqual(["a sending", "b sending", "c waiting"]);
  expect(queue.getState()[0]?.sent).toBe(0.5);
  open.get("a")?.finish();
  await vi.waitFor(() => expect(states()).toEqual(["b sending", "c sending"]));
  expect(arrived).toEqual(["a"]);
});

it("keeps a refused file with the server's words, and sends it again on demand", async () => {
  const { queue, open, arrived } = scripted();
  queue.add(files("a"));
  open.get("a")?.refuse(new Problem({ code: "too_large", message: "Too large.", status: 413, retryable: false }));
  await vi.waitFor(() =>
    expect(queue.getState()[0]).toMatchObject({ state: "rejected", problem: { message: "Too large." } }),
  );
  queue.retry(queue.getState()[0]?.key ?? 0);
  open.get("a")?.finish();
  await vi.waitFor(() => expect(arrived).toEqual(["a"]));
  expect(queue.getState()).toEqual([]);
});

it("aborts what is taken out", () => {
  const { queue, open } = scripted();
  queue.add(files("a", "b"));
  queue.clear();
  expect([open.get("a")?.signal.aborted, open.get("b")?.signal.aborted]).toEqual([true, true]);
  expect(queue.getState()).toEqual([]);
});
