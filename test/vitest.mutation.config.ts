import { defineConfig, mergeConfig } from 'vitest/config'
import base from './vitest.config.ts'

/**
 * What `npm run test:mutation` holds the broken code against: only tests that decide in memory, since each of them
 * runs some thousand times.
 */
export default mergeConfig(
  { ...base, test: { ...base.test, include: [], exclude: [] } },
  defineConfig({
    test: {
      include: [
        'test/agent/{machine,machine-*,reconcile,retries,roll-schedule}.test.ts',
        'test/certificate/*.test.ts',
      ],
      // Needs a token.
      exclude: ['test/certificate/request-by-hsm.test.ts'],
    },
  }),
)
