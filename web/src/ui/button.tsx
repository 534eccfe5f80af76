import type { ComponentProps } from "react";

import styles from "./button.module.css";
import { Icon, type IconName } from "./icon";

type Kind = "primary" | "plain" | "danger";

export function Button({
  kind = "plain",
  icon,
  children,
  ...rest
}: ComponentProps<"button"> & { kind?: Kind; icon?: IconName }) {
  return (
    <button type="button" {...rest} className={`${styles.button} ${styles[kind]}`}>
      {icon && <Icon name={icon} size={16} />}
      {children}
    </button>
  );
}

/** A button that shows an icon only; `label` is its name and its tooltip. */
export function IconButton({ icon, label, ...rest }: ComponentProps<"button"> & { icon: IconName; label: string }) {
  return (
    <button type="button" title={label} aria-label={label} {...rest} className={styles.icon}>
      <Icon name={icon} />
    </button>
  );
}
