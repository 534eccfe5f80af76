import { useState, type SubmitEvent } from "react";

import { messageOf } from "../../api/problem";
import { logIn, register } from "../../api/session";
import { Button } from "../../ui/button";
import { Logo } from "../../ui/logo";
import { ThemeToggle } from "../../ui/theme-toggle";
import styles from "./account-page.module.css";

const WORDS = {
  login: {
    title: "Welcome back",
    submit: "Log in",
    send: logIn,
    other: "register",
    question: "New here?",
    switch: "Create an account",
    complete: "current-password",
  },
  register: {
    title: "Create your account",
    submit: "Create account",
    send: register,
    other: "login",
    question: "Already have an account?",
    switch: "Log in",
    complete: "new-password",
  },
} as const;

export function AccountPage() {
  const [mode, setMode] = useState<keyof typeof WORDS>("login");
  const words = WORDS[mode];
  return (
    <div className={styles.page}>
      <header className={styles.bar}>
        <Logo />
        <ThemeToggle />
      </header>
      <main className={styles.main}>
        <div className={styles.pitch}>
          <h1>Ask your own documents.</h1>
          <p>Answers stream in word by word, and every citation opens the exact passage it came from.</p>
        </div>
        <section className={styles.card} aria-labelledby="account-title">
          <h2 id="account-title">{words.title}</h2>
          <AccountForm key={mode} mode={mode} />
          <p className={styles.switch}>
            {words.question}{" "}
            <button type="button" data-testid={`to-${words.other}`} onClick={() => setMode(words.other)}>
              {words.switch}
            </button>
          </p>
        </section>
      </main>
    </div>
  );
}

function AccountForm({ mode }: { mode: keyof typeof WORDS }) {
  const words = WORDS[mode];
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  const submit = async (event: SubmitEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    setBusy(true);
    setProblem(null);
    try {
      await words.send(form.get("email") as string, form.get("password") as string);
    } catch (error) {
      setProblem(messageOf(error));
      setBusy(false);
    }
  };
  return (
    <form className={styles.form} onSubmit={(event) => void submit(event)}>
      <label>
        Email
        <input name="email" type="email" required autoComplete="username" autoFocus data-testid={`${mode}-email`} />
      </label>
      <label>
        Password
        <input
          name="password"
          type="password"
          required
          autoComplete={words.complete}
          aria-describedby={mode === "register" ? "password-rule" : undefined}
          data-testid={`${mode}-password`}
        />
      </label>
      {mode === "register" && (
        <p id="password-rule" className={styles.rule}>
          At least 8 characters; a few words in a row make a good one.
        </p>
      )}
      <p role="alert" className={styles.problem} data-testid="account-problem">
        {problem}
      </p>
      <Button type="submit" kind="primary" disabled={busy} data-testid={`${mode}-submit`}>
        {words.submit}
      </Button>
    </form>
  );
}
