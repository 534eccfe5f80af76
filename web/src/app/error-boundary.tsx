import { Component, type ReactNode } from "react";

import { Button } from "../ui/button";
import styles from "./app.module.css";

/** The last resort: a fault of this page leaves words and a way on, not a white screen. */
export class ErrorBoundary extends Component<{ children: ReactNode }, { failed: boolean }> {
  override state = { failed: false };

  static getDerivedStateFromError() {
    return { failed: true };
  }

  override render() {
    if (!this.state.failed) return this.props.children;
    return (
      <main className={styles.notice}>
        <h1>This page has stumbled.</h1>
        <p role="alert">Your documents and answers are safe on the server.</p>
        <Button icon="retry" onClick={() => location.reload()}>
          Reload
        </Button>
      </main>
    );
  }
}
