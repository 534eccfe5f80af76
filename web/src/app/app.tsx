import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { useEffect, useState, useSyncExternalStore } from "react";
import { LorestreamError, unreachable } from "@lorestream/client";

import { getSession, refresh, subscribe, wake } from "../api/session";
import { AccountPage } from "../features/account/account-page";
import { Announcer } from "../ui/announcer";
import { Button } from "../ui/button";
import styles from "./app.module.css";
import { ErrorBoundary } from "./error-boundary";
import { forgetInvitation, invitation } from "./invitation";
import { Pages } from "./pages";

/** A refusal does not become an answer by asking again, unless the server says that it may. */
const retry = (failures: number, error: Error): boolean =>
  failures < 2 && error instanceof LorestreamError && error.retryable;

const resumeSession = (): void => void refresh().catch(() => undefined);

export function App() {
  return (
    <ErrorBoundary>
      <Page />
      <Announcer />
    </ErrorBoundary>
  );
}

function Page() {
  const session = useSyncExternalStore(subscribe, getSession);
  useEffect(() => {
    resumeSession();
    addEventListener("online", wake);
    document.addEventListener("visibilitychange", wake);
    return () => {
      removeEventListener("online", wake);
      document.removeEventListener("visibilitychange", wake);
    };
  }, []);
  switch (session.state) {
    case "unknown":
      return null;
    case "unreachable":
      return (
        <main className={styles.notice}>
          <h1>Lorestream</h1>
          <p role="alert">{unreachable().message}</p>
          <Button icon="retry" onClick={resumeSession}>
            Try again
          </Button>
        </main>
      );
    case "anonymous":
      return <AccountPage notice={session.notice} invitation={invitation()} onRegistered={forgetInvitation} />;
    case "signed-in":
      return <SignedIn key={session.userId} userId={session.userId} />;
  }
}

/** Each user has their own cache: nothing of one is left for the next. */
function SignedIn({ userId }: { userId: string }) {
  const [client] = useState(() => new QueryClient({ defaultOptions: { queries: { retry } } }));
  return (
    <QueryClientProvider client={client}>
      <Pages userId={userId} />
    </QueryClientProvider>
  );
}
