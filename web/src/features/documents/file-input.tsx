import type { Ref } from "react";

/** The one hidden file input; buttons anywhere on the page click it. */
export function FileInput({ ref, onFiles }: { ref: Ref<HTMLInputElement>; onFiles: (files: Iterable<File>) => void }) {
  return (
    <input
      ref={ref}
      type="file"
      multiple
      className="visually-hidden"
      tabIndex={-1}
      aria-label="Add documents"
      data-testid="file-input"
      onChange={(event) => {
        onFiles(event.currentTarget.files ?? []);
        // So that choosing the same file again is a change.
        event.currentTarget.value = "";
      }}
    />
  );
}
