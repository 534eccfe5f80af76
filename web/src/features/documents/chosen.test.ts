import { expect, it } from "vitest";

import { chosenFiles, droppedFiles, MAX_FILES } from "./chosen";

const names = (files: readonly File[]): string[] => files.map(({ name }) => name);

const fileEntry = (name: string, readable = true) =>
  ({
    ...{ name, isFile: true, isDirectory: false },
    file: (resolve: (file: File) => void, reject: (error: unknown) => void) =>
      readable ? resolve(new File(["x"], name)) : reject(new DOMException("NotReadableError")),
  }) as unknown as FileSystemEntry;

/** A folder whose reader tells two entries at a time, as browsers tell a hundred. */
const folderEntry = (name: string, children: FileSystemEntry[]) =>
  ({
    ...{ name, isFile: false, isDirectory: true },
    createReader: () => {
      const rest = [...children];
      return { readEntries: (resolve: (part: FileSystemEntry[]) => void) => resolve(rest.splice(0, 2)) };
    },
  }) as unknown as FileSystemEntry;

const dropped = (...entries: FileSystemEntry[]) =>
  droppedFiles(entries.map((entry) => ({ kind: "file", webkitGetAsEntry: () => entry })));

it("walks through dropped folders, and names what it leaves out", async () => {
  const found = await dropped(
    folderEntry("papers", [
      fileEntry("a.pdf"),
      fileEntry(".DS_Store"),
      folderEntry("2024", [fileEntry("b.md"), fileEntry("c.md"), fileEntry("locked.pdf", false)]),
      folderEntry(".git", [fileEntry("config")]),
      fileEntry("more.zip"),
    ]),
  );
  expect(found.name).toBe("papers");
  expect(names(found.files)).toEqual(["a.pdf", "b.md", "c.md"]);
  expect(names(found.archives)).toEqual(["more.zip"]);
  expect(found.leftOut).toEqual([
    "Hidden files are left out: papers/.DS_Store.",
    "Could not be read: papers/2024/locked.pdf.",
  ]);
});

it("takes a hidden file that was chosen by itself", () => {
  expect(names(chosenFiles([new File(["x"], ".notes"), new File(["x"], "b.txt")]).files)).toEqual([".notes", "b.txt"]);
});

it("takes no more than a batch can hold, and says so", () => {
  const found = chosenFiles(Array.from({ length: MAX_FILES + 1 }, (_, index) => new File([], `${index}.txt`)));
  expect(found.files).toHaveLength(MAX_FILES);
  expect(found.leftOut.join()).toContain(`Only the first ${MAX_FILES} files`);
});
