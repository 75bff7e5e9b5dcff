// Search shows a piece of each page it finds, for which it asks for the page: a browser allows that only on a server.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
