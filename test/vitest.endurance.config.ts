import { defineConfig, mergeConfig } from 'vitest/config'
import base from './vitest.config.ts'

/** What takes too long for every run: `npm run test:endurance`. */
export default mergeConfig(
  { ...base, test: { ...base.test, include: [], exclude: [] } },
  defineConfig({
    test: {
      include: ['test/endurance/**/*.test.ts'],
      testTimeout: 15 * 60_000,
      hookTimeout: 5 * 60_000,
    },
  }),
)
