import { useEffect, useRef, type MouseEvent, type ReactNode } from "react";

import { Icon, type IconName } from "./icon";
import { Logo } from "./logo";
import styles from "./section-page.module.css";

export interface Section {
  id: string;
  label: string;
  icon: IconName;
}

interface Props {
  title: string;
  sections: readonly Section[];
  current: Section;
  onGo: (id: string) => void;
  backLabel: string;
  onBack: () => void;
  children: ReactNode;
}

/** A page of several sections, each with an address of its own (`#id`): their list beside the open one. */
export function SectionPage({ title, sections, current, onGo, backLabel, onBack, children }: Props) {
  const heading = useRef<HTMLHeadingElement>(null);
  const nav = useRef<HTMLElement>(null);
  useEffect(() => {
    heading.current?.focus();
    nav.current?.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
    document.title = `${current.label} · Lorestream`;
    return () => void (document.title = "Lorestream");
  }, [current.label]);
  return (
    <div className={styles.page}>
      <header className={styles.side}>
        <div className={styles.brand}>
          <Logo />
        </div>
        <button type="button" className={styles.back} onClick={onBack} data-testid="section-back">
          <Icon name="back" />
          {backLabel}
        </button>
        <nav ref={nav} aria-label={title}>
          <h2 className={styles.title}>{title}</h2>
          <ul className={styles.sections}>
            {sections.map((section) => (
              <li key={section.id}>
                <SectionLink section={section} current={section === current} onGo={onGo} />
              </li>
            ))}
          </ul>
        </nav>
      </header>
      <main className={styles.main}>
        <div className={styles.content}>
          <h1 ref={heading} tabIndex={-1}>
            {current.label}
          </h1>
          {children}
        </div>
      </main>
    </div>
  );
}

function SectionLink({
  section: { id, label, icon },
  current,
  onGo,
}: { section: Section; current: boolean } & Pick<Props, "onGo">) {
  const follow = (event: MouseEvent) => {
    // With a modifier it is the browser's: a new tab, a new window.
    if (event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    onGo(id);
  };
  return (
    <a href={`#${id}`} aria-current={current ? "page" : undefined} onClick={follow} data-testid={`section-${id}`}>
      <Icon name={icon} />
      {label}
    </a>
  );
}

interface PanelProps {
  title: string;
  /** What it is for. */
  about?: ReactNode;
  /** Beside the title. */
  action?: ReactNode;
  children?: ReactNode;
}

/** One matter of a section. */
export function Panel({ title, about, action, children }: PanelProps) {
  return (
    <section className={styles.panel} aria-label={title}>
      <div className={styles.head}>
        <h2>{title}</h2>
        {action}
      </div>
      {about && <p className={styles.about}>{about}</p>}
      {children}
    </section>
  );
}

/** What went wrong in a panel; the place for it is there before. */
export function Alert({ children }: { children: ReactNode }) {
  return (
    <p role="alert" className={styles.alert}>
      {children}
    </p>
  );
}

/** The fields of a form below each other, and its button. */
export function FormGrid({ children }: { children: ReactNode }) {
  return <div className={styles.form}>{children}</div>;
}
