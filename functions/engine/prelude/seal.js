// Last part: from here on user code runs, and the way to the host is only what the parts before captured.
delete globalThis.__host;
