import { useEffect, useEffectEvent, useRef } from "react";

/** A ref for what stands at the end of a list: `action` is called when it comes into view. */
export function useVisible<E extends Element>(action: () => void) {
  const ref = useRef<E>(null);
  const onVisible = useEffectEvent(action);
  useEffect(() => {
    if (!ref.current) return;
    const observer = new IntersectionObserver(
      (entries) => {
        if (entries.some((entry) => entry.isIntersecting)) onVisible();
      },
      { rootMargin: "200px" },
    );
    observer.observe(ref.current);
    return () => observer.disconnect();
  });
  return ref;
}
