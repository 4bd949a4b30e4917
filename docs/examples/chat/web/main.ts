/** The page: what the functions answer goes into the document, what the user does becomes mutations. */
import { ConvexClient } from "convex/browser";
import { ConvexError } from "convex/values";
import { api } from "../convex/_generated/api";
import { MessagePages, type Message } from "./pages";

declare const CONVEX_URL: string; // put in by the bundler

const CHANNELS = ["general", "random", "tidelog"];

const client = new ConvexClient(CONVEX_URL);
const token = ownToken();
let channel = channelOfAddress();
let pages: MessagePages | undefined;
let stopCounting: (() => void) | undefined;

function element<T extends HTMLElement>(id: string): T {
  return document.getElementById(id) as T;
}

/** Who this browser is. Kept for all its tabs; a private window is someone else. */
function ownToken(): string {
  const kept = localStorage.getItem("token");
  if (kept !== null) return kept;
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const made = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  localStorage.setItem("token", made);
  return made;
}

function channelOfAddress(): string {
  const named = location.hash.slice(1);
  return CHANNELS.includes(named) ? named : CHANNELS[0]!;
}

// --- showing ----------------------------------------------------------------------------------------

function openChannel(name: string): void {
  channel = name;
  pages?.close();
  stopCounting?.();
  element("title").textContent = `# ${name}`;
  for (const link of document.querySelectorAll<HTMLAnchorElement>("nav a")) {
    if (link.hash === `#${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  pages = new MessagePages(client, name, showMessages);
  const counting = client.onUpdate(api.messages.count, { channel: name }, (count) => {
    element("count").textContent = count === 1 ? "1 message" : `${count.toLocaleString()} messages`;
  });
  stopCounting = () => counting();
}

function showMessages(messages: Message[], hasMore: boolean): void {
  const list = element("messages");
  const isAtEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  const fromEnd = list.scrollHeight - list.scrollTop;
  element<HTMLButtonElement>("more").hidden = !hasMore;
  const rows = messages.map(messageRow).reverse();
  element("rows").replaceChildren(...rows);
  // Stay with the newest, or keep what is being read where it is.
  list.scrollTop = isAtEnd ? list.scrollHeight : list.scrollHeight - fromEnd;
}

function messageRow(message: Message): HTMLElement {
  const row = document.createElement("li");
  row.dataset.id = message._id;
  const name = document.createElement("strong");
  name.textContent = message.name;
  name.style.setProperty("--hue", String(hueOf(message.author)));
  const time = document.createElement("time");
  const created = new Date(message._creationTime);
  time.dateTime = created.toISOString();
  time.textContent = created.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  const body = document.createElement("p");
  body.textContent = message.body; // as text: a message is not markup
  row.append(name, time, body);
  return row;
}

function hueOf(id: string): number {
  let hue = 0;
  for (const character of id) hue = (hue * 31 + character.charCodeAt(0)) % 360;
  return hue;
}

function showConnection(): void {
  const { isWebSocketConnected, hasEverConnected, inflightMutations } = client.connectionState();
  const state = isWebSocketConnected ? "live" : hasEverConnected ? "reconnecting" : "connecting";
  const shown = element("connection");
  shown.dataset.state = state;
  shown.textContent = inflightMutations > 0 ? `${state}, sending ${inflightMutations}` : state;
}

function showProblem(problem: unknown): void {
  const isOurs = problem instanceof ConvexError;
  element("problem").textContent = isOurs ? String(problem.data) : `Not sent: ${problem}`;
}

// --- doing ------------------------------------------------------------------------------------------

async function send(event: SubmitEvent): Promise<void> {
  event.preventDefault();
  const input = element<HTMLInputElement>("body");
  const body = input.value;
  if (body.trim() === "") return;
  input.value = "";
  element("problem").textContent = "";
  try {
    await client.mutation(api.messages.send, { channel, token, body });
  } catch (problem) {
    showProblem(problem);
    if (input.value === "") input.value = body; // nothing typed is lost
  }
}

function start(): void {
  for (const name of CHANNELS) {
    const link = document.createElement("a");
    link.href = `#${name}`;
    link.textContent = `# ${name}`;
    element("channels").append(link);
  }
  const nameInput = element<HTMLInputElement>("name");
  client.onUpdate(api.users.name, { token }, (name) => {
    if (document.activeElement !== nameInput) nameInput.value = name ?? "";
  });
  nameInput.addEventListener("change", () => {
    client.mutation(api.users.setName, { token, name: nameInput.value }).catch(showProblem);
  });
  element<HTMLFormElement>("composer").addEventListener("submit", send);
  element("more").addEventListener("click", () => pages?.loadMore());
  window.addEventListener("hashchange", () => openChannel(channelOfAddress()));
  client.subscribeToConnectionState(showConnection);
  showConnection();
  openChannel(channel);
}

start();
