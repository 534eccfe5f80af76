import { useCallback, useEffect, useRef, useState } from "react";

const NEAR_PX = 72;

/** Keep the end of growing content in view, until the reader scrolls away from it. */
export function useStickToEnd() {
  const scrollRef = useRef<HTMLDivElement>(null);
  const contentRef = useRef<HTMLDivElement>(null);
  const stuck = useRef(true);
  const [atEnd, setAtEnd] = useState(true);

  const toEnd = useCallback(() => {
    stuck.current = true;
    scrollRef.current?.scrollTo({ top: scrollRef.current.scrollHeight });
  }, []);

  useEffect(() => {
    const scroll = scrollRef.current;
    const content = contentRef.current;
    if (!scroll || !content) return;
    const measure = () => scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < NEAR_PX;
    const onScroll = () => {
      stuck.current = measure();
      setAtEnd(stuck.current);
    };
    const grown = new ResizeObserver(() => {
      if (stuck.current) scroll.scrollTop = scroll.scrollHeight;
      setAtEnd(measure());
    });
    grown.observe(content);
    grown.observe(scroll);
    scroll.addEventListener("scroll", onScroll, { passive: true });
    return () => {
      grown.disconnect();
      scroll.removeEventListener("scroll", onScroll);
    };
  }, []);

  return { scrollRef, contentRef, atEnd, toEnd };
}
