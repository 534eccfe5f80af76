/** What somebody chose or dropped: files, folders with all below them, ZIP files. */
export interface Chosen {
  /** What the whole is called: the folder's name, or how many files there are. */
  name: string;
  files: File[];
  /** ZIP files: the server unpacks them. */
  archives: File[];
  /** Why some of it is not sent; empty when all is. */
  leftOut: string[];
}

interface Found {
  file: File;
  /** From the folder that was chosen down to the file. */
  path: string;
}

interface Walk {
  found: Found[];
  unreadable: string[];
  full: boolean;
}

/** The server unpacks no more of a ZIP file either; a folder of more is better sent in parts. */
export const MAX_FILES = 10_000;
const MAX_DEPTH = 32;
/** What systems and programs put beside one's files. */
const HIDDEN = /^(\..*|__MACOSX|Thumbs\.db|desktop\.ini|~\$.*)$/i;
const NAMED = 3;

/** By the buttons: the browser has walked through the folders already. */
export function chosenFiles(files: Iterable<File>): Chosen {
  const all = Array.from(files, (file) => ({ file, path: file.webkitRelativePath || file.name }));
  return sortOut({ found: all.slice(0, MAX_FILES), unreadable: [], full: all.length > MAX_FILES });
}

/** By drag and drop. Called within the event: afterwards the browser has forgotten what was dropped. */
export async function droppedFiles(
  items: Iterable<Pick<DataTransferItem, "kind" | "webkitGetAsEntry">>,
): Promise<Chosen> {
  const entries = Array.from(items, (item) => (item.kind === "file" ? item.webkitGetAsEntry() : null));
  const walk: Walk = { found: [], unreadable: [], full: false };
  for (const entry of entries) if (entry) await visit(entry, entry.name, 0, walk);
  return sortOut(walk);
}

async function visit(entry: FileSystemEntry, path: string, depth: number, walk: Walk): Promise<void> {
  walk.full ||= walk.found.length >= MAX_FILES || depth > MAX_DEPTH;
  if (walk.full) return;
  try {
    if (entry.isFile) walk.found.push({ file: await fileOf(entry as FileSystemFileEntry), path });
    else if (!isHidden(path)) {
      for await (const child of childrenOf(entry as FileSystemDirectoryEntry)) {
        await visit(child, `${path}/${child.name}`, depth + 1, walk);
      }
    }
  } catch {
    walk.unreadable.push(path);
  }
}

const fileOf = (entry: FileSystemFileEntry): Promise<File> =>
  new Promise((resolve, reject) => entry.file(resolve, reject));

/** A reader tells its entries in parts, an empty part last. */
async function* childrenOf(folder: FileSystemDirectoryEntry): AsyncGenerator<FileSystemEntry, void> {
  const reader = folder.createReader();
  for (;;) {
    const part = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
    if (part.length === 0) return;
    yield* part;
  }
}

const isHidden = (path: string): boolean => path.split("/").some((name) => HIDDEN.test(name));

function sortOut({ found, unreadable, full }: Walk): Chosen {
  // A file that was chosen by itself is meant, whatever its name; one that lies in a folder may be the system's.
  const unseen = ({ path }: Found): boolean => path.includes("/") && isHidden(path);
  const hidden = found.filter(unseen);
  const rest = found.filter((one) => !unseen(one)).map(({ file }) => file);
  const roots = new Set(found.map(({ path }) => (path.includes("/") ? path.split("/")[0] : null)));
  const [root] = roots;
  return {
    name: roots.size === 1 && root ? root : `${rest.length} files`,
    files: rest.filter((file) => !isArchive(file)),
    archives: rest.filter(isArchive),
    leftOut: [
      ...(hidden.length > 0 ? [`Hidden files are left out: ${naming(hidden.map(({ path }) => path))}.`] : []),
      ...(unreadable.length > 0 ? [`Could not be read: ${naming(unreadable)}.`] : []),
      ...(full ? [`Only the first ${MAX_FILES} files are taken; please add the rest in parts.`] : []),
    ],
  };
}

const isArchive = ({ name }: File): boolean => /\.zip$/i.test(name);

function naming(paths: readonly string[]): string {
  const more = paths.length - NAMED;
  return paths.slice(0, NAMED).join(", ") + (more > 0 ? ` and ${more} more` : "");
}
