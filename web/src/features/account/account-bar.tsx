import { useQuery } from "@tanstack/react-query";
import { useState } from "react";

import { meQuery } from "../../api/me";
import { messageOf } from "../../api/problem";
import { logOut } from "../../api/session";
import { IconButton } from "../../ui/button";
import { ThemeToggle } from "../../ui/theme-toggle";
import styles from "./account-bar.module.css";

/** Who is logged in, the theme, and the way out. */
export function AccountBar() {
  const { data: me } = useQuery(meQuery);
  const [problem, setProblem] = useState<string | null>(null);
  const leave = () => {
    logOut().catch((error: unknown) => setProblem(messageOf(error)));
  };
  return (
    <div className={styles.bar}>
      <span className={styles.email} title={me?.email} role={problem ? "alert" : undefined}>
        {problem ?? me?.email}
      </span>
      <ThemeToggle />
      <IconButton icon="leave" label="Log out" onClick={leave} data-testid="logout" />
    </div>
  );
}
