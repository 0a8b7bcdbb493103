/** Lines of a service that answers on port 80 with its own host name and writes each caller's address to its log. */
export const helloService = `    image: busybox:latest
    command: ["sh", "-c", "mkdir -p /www && hostname > /www/index.html && exec httpd -f -vv -p 80 -h /www"]
    expose: ["80"]
    stop_signal: SIGKILL
`;
