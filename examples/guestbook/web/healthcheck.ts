// Exits 0 when the server next door is healthy: the image has no curl.
const response = await fetch(`http://127.0.0.1:${process.env['PORT'] ?? 3000}/healthz`);
process.exit(response.ok ? 0 : 1);
