import { useState } from "react";

import type { RegistrationOptions } from "../../api/types";
import { Logo } from "../../ui/logo";
import { ThemeToggle } from "../../ui/theme-toggle";
import styles from "./account-page.module.css";
import { LoginForm, RegisterForm } from "./account-forms";
import { useAccountOptions } from "./use-account-options";

interface Props {
  /** Why the login has ended that was here before. */
  notice: string | null;
  /** The code of the invitation by whose link this page was opened. */
  invitation: string | null;
  onRegistered: () => void;
}

/** The page of those who are not logged in. */
export function AccountPage(props: Props) {
  const options = useAccountOptions();
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
        {options && <Card options={options} {...props} />}
      </main>
    </div>
  );
}

function Card({ options, notice, invitation, onRegistered }: Props & { options: RegistrationOptions }) {
  const { first, registration } = options;
  const [registering, setRegistering] = useState(first || (invitation !== null && notice === null));
  return (
    <section className={styles.card} aria-labelledby="account-title">
      {notice && (
        <p role="status" className={styles.notice} data-testid="login-notice">
          {notice}
        </p>
      )}
      <h2 id="account-title">{registering ? (first ? "Set up Lorestream" : "Create your account") : "Welcome back"}</h2>
      {registering && first && (
        <p className={styles.lead}>
          Nobody is registered here yet. You will be the administrator: you decide who else may come.
        </p>
      )}
      {registering ? (
        <RegisterForm options={options} invitation={invitation} onRegistered={onRegistered} />
      ) : (
        <LoginForm />
      )}
      {registering ? (
        !first && (
          <p className={styles.switch}>
            Already have an account?{" "}
            <button type="button" data-testid="to-login" onClick={() => setRegistering(false)}>
              Log in
            </button>
          </p>
        )
      ) : (
        <NewHere registration={registration} onRegister={() => setRegistering(true)} />
      )}
    </section>
  );
}

/** What somebody without an account can do about it. */
function NewHere({ registration, onRegister }: Pick<RegistrationOptions, "registration"> & { onRegister: () => void }) {
  if (registration === "closed") {
    return (
      <p className={styles.switch} data-testid="registration-closed">
        New here? The administrator of this server makes the accounts; ask them for one.
      </p>
    );
  }
  const invited = registration === "invite";
  return (
    <p className={styles.switch}>
      {invited ? "New here? Accounts are by invitation: open the link that you were sent, or " : "New here? "}
      <button type="button" data-testid="to-register" onClick={onRegister}>
        {invited ? "enter its code" : "Create an account"}
      </button>
      {invited && "."}
    </p>
  );
}
