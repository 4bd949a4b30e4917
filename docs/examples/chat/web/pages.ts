/**
 * A channel's messages as live pages.
 *
 * Each page is a subscription of its own. The first one grows as messages arrive; "load more" subscribes
 * to the page that begins where the last one ends.
 */
import type { ConvexClient } from "convex/browser";
import type { FunctionReturnType } from "convex/server";
import { api } from "../convex/_generated/api";

const PAGE_LENGTH = 20;

export type Page = FunctionReturnType<typeof api.messages.list>;
export type Message = Page["page"][number];

export class MessagePages {
  private readonly pages: (Page | undefined)[] = [];
  private readonly unsubscribes: (() => void)[] = [];

  constructor(
    private readonly client: ConvexClient,
    private readonly channel: string,
    private readonly onChange: (messages: Message[], hasMore: boolean) => void,
  ) {
    this.subscribe(null);
  }

  loadMore(): void {
    const last = this.pages.at(-1);
    if (last !== undefined && !last.isDone) this.subscribe(last.continueCursor);
  }

  close(): void {
    for (const unsubscribe of this.unsubscribes) unsubscribe();
  }

  private subscribe(cursor: string | null): void {
    const position = this.pages.push(undefined) - 1;
    const args = { channel: this.channel, paginationOpts: { numItems: PAGE_LENGTH, cursor } };
    const subscription = this.client.onUpdate(api.messages.list, args, (page) => {
      this.pages[position] = page;
      this.tell();
    });
    this.unsubscribes.push(() => subscription());
  }

  /** Only once every page is there, so that no gap is ever shown. */
  private tell(): void {
    const loaded = this.pages.filter((page) => page !== undefined);
    if (loaded.length < this.pages.length) return;
    const messages = loaded.flatMap((page) => page.page);
    this.onChange(messages, !loaded.at(-1)!.isDone);
  }
}
