import type { Theme } from "vitepress";
// Without its fonts, which weigh more than all else.
import DefaultTheme from "vitepress/theme-without-fonts";
import { defineAsyncComponent } from "vue";
import "./style.css";

export default {
  extends: DefaultTheme,
  enhanceApp({ app }) {
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
