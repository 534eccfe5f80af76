import { useImperativeHandle, useRef, type ChangeEvent, type Ref } from "react";

import { chosenFiles, type Chosen } from "./chosen";

/** Opens the browser's dialog. */
export interface Chooser {
  files: () => void;
  folder: () => void;
}

/** No standard, and known to every browser; React's types leave it out. */
const DIRECTORY = { webkitdirectory: "" };

/** The page's hidden file inputs; buttons anywhere open them by the chooser. */
export function FileInputs({ ref, onChosen }: { ref: Ref<Chooser>; onChosen: (chosen: Chosen) => void }) {
  const files = useRef<HTMLInputElement>(null);
  const folder = useRef<HTMLInputElement>(null);
  useImperativeHandle(ref, () => ({ files: () => files.current?.click(), folder: () => folder.current?.click() }), []);
  const onChange = ({ currentTarget: input }: ChangeEvent<HTMLInputElement>) => {
    onChosen(chosenFiles(input.files ?? []));
    // So that choosing the same again is a change.
    input.value = "";
  };
  const input = { type: "file", multiple: true, className: "visually-hidden", tabIndex: -1, onChange } as const;
  return (
    <>
      <input ref={files} {...input} aria-label="Add documents" data-testid="file-input" />
      <input ref={folder} {...input} {...DIRECTORY} aria-label="Add a folder" data-testid="folder-input" />
    </>
  );
}
