import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { useEffect, useRef, useState, type KeyboardEvent } from "react";

import { boxesQuery, pageImageQuery } from "../../api/documents";
import { messageOf } from "../../api/message";
import type { DocumentBoxes } from "../../api/types";
import { Button, IconButton } from "../../ui/button";
import { useObjectUrl } from "../../ui/use-object-url";
import styles from "./paper-view.module.css";
import type { ViewerTarget } from "./viewer";

/** In multiples of the width there is. */
const ZOOMS = [1, 1.5, 2, 3] as const;
/** Images come in few widths, so that a window being resized does not ask for each. */
const WIDTH_STEP = 200;
const MIN_WIDTH = 400;
const MAX_WIDTH = 2_000;
const NO_PASSAGE = { start: 0, end: 0 };
type Boxes = DocumentBoxes["pages"][number]["boxes"];

interface Props {
  target: ViewerTarget;
  pages: number;
  /** Show its text instead. */
  onText: () => void;
}

/** A PDF page by page as it is printed; the passage's lines are marked where the server says that they stand. */
export function PaperView({ target: { docId, title, page, passage }, pages, onText }: Props) {
  const placed = useQuery({ ...boxesQuery(docId, passage ?? NO_PASSAGE), enabled: passage !== null });
  const first = placed.data?.pages.find(({ boxes }) => boxes.length > 0)?.page;
  const [chosen, setChosen] = useState<number | null>(null);
  const [zoom, setZoom] = useState(0);
  const number = Math.min(chosen ?? first ?? page ?? 1, pages);
  const marked = placed.data?.pages.find((one) => one.page === number);
  const turn = (by: number) => setChosen(Math.min(Math.max(number + by, 1), pages));
  const onKeyDown = (event: KeyboardEvent) => {
    const by = { ArrowLeft: -1, PageUp: -1, ArrowRight: 1, PageDown: 1 }[event.key];
    // Where there is something to scroll to, the arrows scroll.
    if (by === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
    if (zoom > 0 && event.key.startsWith("Arrow")) return;
    event.preventDefault();
    turn(by);
  };
  return (
    <div className={styles.paper}>
      <div className={styles.tools} role="toolbar" aria-label="Pages">
        <IconButton
          icon="left"
          label="Previous page"
          disabled={number === 1}
          onClick={() => turn(-1)}
          data-testid="page-back"
        />
        <span aria-live="polite" data-testid="page-number">
          {number} of {pages}
        </span>
        <IconButton
          icon="right"
          label="Next page"
          disabled={number === pages}
          onClick={() => turn(1)}
          data-testid="page-next"
        />
        {first !== undefined && number !== first && (
          <Button onClick={() => setChosen(first)}>To the passage, page {first}</Button>
        )}
        <span className={styles.zoom}>
          <IconButton icon="minus" label="Smaller" disabled={zoom === 0} onClick={() => setZoom(zoom - 1)} />
          <span>{zoom === 0 ? "Width" : `${(ZOOMS[zoom] ?? 1) * 100} %`}</span>
          <IconButton
            icon="plus"
            label="Larger"
            disabled={zoom === ZOOMS.length - 1}
            onClick={() => setZoom(zoom + 1)}
          />
        </span>
      </div>
      {placed.error && (
        <p role="alert" className={styles.note}>
          {messageOf(placed.error)}
        </p>
      )}
      {placed.data && first === undefined && (
        <p className={styles.note}>
          Where the passage stands on the page is not known. <Button onClick={onText}>Show it in the text</Button>
        </p>
      )}
      <div className={styles.scroll} tabIndex={0} role="region" aria-label="Page" onKeyDown={onKeyDown}>
        <Sheet
          docId={docId}
          number={number}
          zoom={ZOOMS[zoom] ?? 1}
          alt={`Page ${number} of ${title}`}
          boxes={marked?.boxes ?? []}
          ratio={marked ? marked.height / marked.width : null}
          onText={onText}
        />
      </div>
    </div>
  );
}

interface SheetProps {
  docId: string;
  number: number;
  zoom: number;
  alt: string;
  boxes: Boxes;
  /** Height by width, where it is known before the image. */
  ratio: number | null;
  onText: () => void;
}

/** One page with the marks over it. */
function Sheet({ docId, number, zoom, alt, boxes, ratio, onText }: SheetProps) {
  const sheet = useRef<HTMLDivElement>(null);
  const mark = useRef<HTMLSpanElement>(null);
  const [room, setRoom] = useState(0);
  useEffect(() => {
    const frame = sheet.current?.parentElement;
    if (!frame) return;
    const observer = new ResizeObserver(() => setRoom(frame.clientWidth));
    observer.observe(frame);
    return () => observer.disconnect();
  }, []);
  const pixels = Math.ceil((room * zoom * devicePixelRatio) / WIDTH_STEP) * WIDTH_STEP;
  const width = Math.min(Math.max(pixels, MIN_WIDTH), MAX_WIDTH);
  const { data, error, isPlaceholderData } = useQuery({
    ...pageImageQuery(docId, number, width),
    enabled: room > 0,
    // The same page in another size stands in for the one that is on its way.
    placeholderData: (previous, query) =>
      query?.queryKey[1] === docId && query.queryKey[2] === number ? keepPreviousData(previous) : undefined,
  });
  const url = useObjectUrl(data);
  const [loaded, setLoaded] = useState<string | null>(null);
  const there = url !== null && loaded === url;
  useEffect(() => {
    if (there) mark.current?.scrollIntoView({ block: "center", inline: "nearest" });
  }, [there, number, zoom, boxes]);
  if (error) {
    return (
      <p role="alert" className={styles.note}>
        {messageOf(error)} <Button onClick={onText}>Show the text</Button>
      </p>
    );
  }
  return (
    <div
      ref={sheet}
      className={styles.sheet}
      style={{ width: `${zoom * 100}%`, ...(ratio && !there && { aspectRatio: String(1 / ratio) }) }}
      aria-busy={!there || isPlaceholderData}
    >
      {url && <img src={url} alt={alt} onLoad={() => setLoaded(url)} data-testid="page-image" data-page={number} />}
      {there &&
        boxes.map(([x0 = 0, y0 = 0, x1 = 0, y1 = 0], index) => (
          <span
            key={index}
            ref={index === 0 ? mark : null}
            className={styles.mark}
            style={{
              left: `${x0 * 100}%`,
              top: `${y0 * 100}%`,
              width: `${(x1 - x0) * 100}%`,
              height: `${(y1 - y0) * 100}%`,
            }}
            data-testid="page-highlight"
          />
        ))}
    </div>
  );
}
