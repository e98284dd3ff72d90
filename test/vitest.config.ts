import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

const root = fileURLToPath(new URL('..', import.meta.url))

export default defineConfig({
  root,
  resolve: {
    // In this order: the first name that an import begins with is taken.
    alias: {
      'leafkeeper/testing': `${root}src/testing/index.ts`,
      leafkeeper: `${root}src/index.ts`,
      'leafkeeper-sim/testing': `${root}sim/testing/index.ts`,
      'leafkeeper-sim': `${root}sim/index.ts`,
    },
  },
  test: {
    include: ['test/**/*.test.ts', 'docs/examples/*.test.ts'],
    exclude: ['test/endurance/**'],
    // A process for each file: PKCS#11 modules and OpenSSL engines are configured once a process.
    pool: 'forks',
    isolate: true,
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // Node warns that TLS engines are deprecated (DEP0183); the binding is replaceable, see src/hsm/tls-binding.ts.
    env: { NODE_NO_WARNINGS: '1' },
    coverage: {
      provider: 'v8',
      include: ['src/**/*.ts', 'sim/**/*.ts'],
      reporter: ['text-summary', 'html', 'json-summary'],
      reportsDirectory: 'coverage',
    },
  },
})
