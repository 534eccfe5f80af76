import styles from "./logo.module.css";

export function Logo() {
  return (
    <span className={styles.logo}>
      <svg viewBox="0 0 32 32" width="26" height="26" aria-hidden="true">
        <rect width="32" height="32" rx="9" fill="var(--accent)" />
        <path
          d="M8 9.5c3.2 0 4.8 1.6 8 1.6s4.8-1.6 8-1.6M8 16c3.2 0 4.8 1.6 8 1.6s4.8-1.6 8-1.6M8 22.5c3.2 0 4.8 1.6 8 1.6"
          fill="none"
          stroke="var(--on-accent)"
          strokeWidth="2.4"
          strokeLinecap="round"
        />
      </svg>
      Lorestream
    </span>
  );
}
