import type { Theme } from "vitepress";
// Without its fonts, which weigh more than all else.
import DefaultTheme from "vitepress/theme-without-fonts";
import { defineAsyncComponent, nextTick } from "vue";
import "./style.css";

export default {
  extends: DefaultTheme,
  enhanceApp({ app, router }) {
    // The site is also rendered where there is no document.
    router.onAfterPageLoad = async () => {
      if (import.meta.env.SSR) return;
      await nextTick();
      const content = document.getElementById("VPContent");
      if (content?.querySelector("main")) content.removeAttribute("role");
      else content?.setAttribute("role", "main");
    };
    app.component(
      "Diagram",
      defineAsyncComponent(() => import("./Diagram.vue")),
    );
    app.component(
      "Playground",
      defineAsyncComponent(() => import("./Playground.vue")),
    );
  },
} satisfies Theme;
