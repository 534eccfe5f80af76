/** Let the browser save what the page already has. */
export function saveFile(content: Blob, name: string): void {
  const url = URL.createObjectURL(content);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  // Not at once: the download reads it after this turn.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** A file name out of a title: without what some file system refuses. */
export function fileName(title: string, extension: string): string {
  const stem = title
    .replaceAll(/[\p{Cc}\p{Cf}\\/:*?"<>|]+/gu, " ")
    .replaceAll(/\s+/g, " ")
    .trim();
  return `${
    Array.from(stem)
      .slice(0, 80)
      .join("")
      .replace(/^\.+|\.+$/g, "") || "untitled"
  }.${extension}`;
}
