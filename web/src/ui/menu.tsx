import { useId, useRef, useState, type ComponentProps, type ReactNode, type ToggleEvent } from "react";

import { IconButton } from "./button";
import { Icon, type IconName } from "./icon";
import styles from "./menu.module.css";

const GAP_PX = 4;

interface Props {
  label: string;
  /** What the button shows beside its three dots. */
  face?: ReactNode;
  children: ReactNode;
  "data-testid"?: string;
}

/** A button that opens a short list of things to do; Escape and a click elsewhere close it. */
export function Menu({ label, face, children, ...rest }: Props) {
  const id = useId();
  const button = useRef<HTMLButtonElement>(null);
  const list = useRef<HTMLDivElement>(null);
  const [open, setOpen] = useState(false);
  // The list lies in the top layer, so that nothing that scrolls cuts it off: it is put beside its button by hand.
  const place = ({ newState }: ToggleEvent) => {
    if (newState !== "open" || !button.current || !list.current) return;
    const from = button.current.getBoundingClientRect();
    const { offsetWidth: width, offsetHeight: height } = list.current;
    const below = from.bottom + GAP_PX + height <= innerHeight;
    list.current.style.top = `${below ? from.bottom + GAP_PX : from.top - GAP_PX - height}px`;
    list.current.style.left = `${Math.max(GAP_PX, Math.min(from.left, innerWidth - width - GAP_PX))}px`;
    list.current.querySelector("button")?.focus();
  };
  return (
    <>
      {face ? (
        <button type="button" {...rest} ref={button} className={styles.face} aria-label={label} popoverTarget={id}>
          {face}
          <Icon name="more" />
        </button>
      ) : (
        <IconButton {...rest} ref={button} icon="more" label={label} popoverTarget={id} />
      )}
      <div
        ref={list}
        id={id}
        popover="auto"
        className={styles.menu}
        onBeforeToggle={({ newState }) => setOpen(newState === "open")}
        onToggle={place}
        onClick={() => list.current?.hidePopover()}
      >
        {open && children}
      </div>
    </>
  );
}

export function MenuItem({ icon, children, ...rest }: ComponentProps<"button"> & { icon: IconName }) {
  return (
    <button type="button" {...rest} className={styles.item}>
      <Icon name={icon} size={16} />
      {children}
    </button>
  );
}
