import type { ReactNode } from "react";

import { Icon, type IconName } from "./icon";
import styles from "./rows.module.css";

/** A list of things, each with what can be done with it. */
export function Rows({ children, label }: { children: ReactNode; label: string }) {
  return (
    <ul className={styles.rows} aria-label={label}>
      {children}
    </ul>
  );
}

interface RowProps {
  icon: IconName;
  title: ReactNode;
  /** Short words beside the title. */
  badges?: ReactNode;
  children?: ReactNode;
  actions?: ReactNode;
  /** No longer in use. */
  faded?: boolean;
  "data-testid"?: string;
}

export function Row({ icon, title, badges, children, actions, faded = false, ...rest }: RowProps) {
  return (
    <li className={styles.row} data-faded={faded} {...rest}>
      <Icon name={icon} />
      <div className={styles.body}>
        <p className={styles.title}>
          <span>{title}</span>
          {badges}
        </p>
        {children && <div className={styles.detail}>{children}</div>}
      </div>
      {actions && <div className={styles.actions}>{actions}</div>}
    </li>
  );
}

export function Badge({ kind = "plain", children }: { kind?: "plain" | "accent" | "danger"; children: ReactNode }) {
  return <span className={`${styles.badge} ${styles[kind]}`}>{children}</span>;
}

/** Said in place of a list that is empty. */
export function Nothing({ children }: { children: ReactNode }) {
  return <p className={styles.nothing}>{children}</p>;
}
